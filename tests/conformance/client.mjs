// Runs tests of the suite against a base URL, and sends their results to the process that forked it. The suite's own
// runner keeps its results for the life of the process, so every run is a process of its own.
//
//   client.mjs BASE whole|dump|again [ID…]     all tests, or these; `dump` prints each message

import fetch from 'node-fetch'
import { getResults, runTests } from 'http-cache-tests/client/runner.mjs'
import { only, suites } from './suites.mjs'

const [base, mode, ...ids] = process.argv.slice(2)
const wanted = mode === 'whole' ? suites : only(ids)
if (mode === 'dump') wanted.flatMap(suite => suite.tests).forEach(test => { test.dump = true })

await runTests(wanted, fetch, false, base)
process.send(getResults(), () => process.disconnect())
