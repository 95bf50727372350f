// Runs the public HTTP cache tests against Larder, prints what came of them, and compares that with what
// docs/conformance.md says. scripts/conformance installs what it needs, and calls it.
//
//   run.mjs --larder PROGRAM      all tests, with config/examples/conformance.yaml
//     --id ID                     this test only, with every message and Larder's log
//     --config FILE               another configuration, whose results docs/conformance.md does not tell
//     --write-docs                writes the tables of docs/conformance.md anew; so does UPDATE_DOCS=1
//
// It ends with 1 where a test fails that departures.json does not name, where a named one passes, and where the
// document is out of date; with 2 where the tests could not be run.

import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { departed, faults, judge, named, tables, unexpected } from './judge.mjs'
import { runClient, startLarder, startOrigin } from './processes.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')
const DOCUMENT = 'docs/conformance.md'
const CONFIG = 'config/examples/conformance.yaml'

const { departures } = JSON.parse(fs.readFileSync(new URL('departures.json', import.meta.url), 'utf8'))

// The verdicts of a run. What was not as it should be is tried once more, by itself: the tests wait real seconds, and
// a machine under load may let them pass too slowly. Gives those that were right the second time as well.
async function runAll (base) {
  const results = await runClient(base, 'whole')
  const first = unexpected(judge(results), departures).map(({ id }) => id)
  if (first.length === 0) return { verdicts: judge(results), second: [] }
  Object.assign(results, await runClient(base, 'again', first))
  const verdicts = judge(results)
  const still = new Set(unexpected(verdicts, departures).map(({ id }) => id))
  return { verdicts, second: first.filter(id => !still.has(id)) }
}

function report (verdicts, second) {
  console.log(tables(verdicts, departures))
  const checks = verdicts.filter(({ kind }) => kind === 'check')
  console.log(`checks answered with yes: ${checks.filter(({ passed }) => passed).length} of ${checks.length}\n`)
  const names = named(departures)
  for (const { tests, rfc, why } of departures) {
    console.log(`departure (${rfc}): ${tests.join(', ')}\n    ${why}`)
  }
  console.log()
  for (const id of second) console.log(`as it should be on the second try only: ${id}`)
  return unexpected(verdicts, departures).map(verdict => names.has(verdict.id)
    ? `${verdict.id} passes, and departures.json names it`
    : describe(verdict))
}

function describe ({ mark, kind, id, name, reason }) {
  return `${mark} ${kind} ${id}: ${name}${reason && `\n    ${reason}`}`
}

// The document with the tables of this run.
function document (written, verdicts) {
  const put = (text, title, content) => {
    const [begin, end] = [`<!-- ${title} -->\n`, `<!-- end of ${title} -->`]
    const from = text.indexOf(begin) + begin.length
    const to = text.indexOf(end, from)
    if (from < begin.length || to < 0) throw new Error(`${DOCUMENT} has no place for the ${title}`)
    return text.slice(0, from) + content + text.slice(to)
  }
  return put(put(written, 'results', tables(verdicts, departures)), 'departures', departed(departures))
}

function compareDocument (verdicts, write) {
  const file = path.join(root, DOCUMENT)
  const written = fs.readFileSync(file, 'utf8')
  const fresh = document(written, verdicts)
  if (fresh === written) return []
  if (!write) return [`${DOCUMENT} is out of date: run \`scripts/conformance --write-docs\``]
  fs.writeFileSync(file, fresh)
  return []
}

async function runOne (base, id) {
  const verdict = judge(await runClient(base, 'dump', [id])).find(verdict => verdict.id === id)
  console.log(describe(verdict))
  return unexpected([verdict], departures).map(({ id }) => `${id} is not as it should be`)
}

async function main () {
  const { values } = parseArgs({
    options: {
      larder: { type: 'string' },
      id: { type: 'string' },
      config: { type: 'string' },
      'write-docs': { type: 'boolean', default: Boolean(process.env.UPDATE_DOCS) }
    }
  })
  if (!values.larder) throw new Error('--larder PROGRAM is missing')
  if (values.id && !judge({}).some(({ id }) => id === values.id)) throw new Error(`there is no test ${values.id}`)
  const echo = values.id !== undefined
  const { origin, address } = await startOrigin(echo)
  const config = values.config ?? path.join(root, CONFIG)
  const { larder, base } = await startLarder(path.resolve(values.larder), config, address, echo)

  const problems = faults(departures)
  if (echo) {
    problems.push(...await runOne(base, values.id))
  } else {
    const { verdicts, second } = await runAll(base)
    problems.push(...report(verdicts, second))
    if (!values.config) problems.push(...compareDocument(verdicts, values['write-docs']))
  }
  for (const program of [origin, larder]) {
    if (program.ended) problems.push(`${program.name} ended before the tests did:\n${program.tail()}`)
  }
  problems.push(...larder.lines.filter(line => line.includes('panicked')))
  for (const problem of problems) console.log(problem)
  console.log(problems.length === 0 ? 'conformance: as it should be' : `conformance: ${problems.length} problems`)
  return problems.length === 0 ? 0 : 1
}

main().then(code => process.exit(code), error => {
  console.error(`tests/conformance/run.mjs: ${error.message}`)
  process.exit(2)
})
