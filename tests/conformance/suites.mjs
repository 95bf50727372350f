// The groups of tests that a proxy can take part in: those for browsers alone are left out.

import tests from 'http-cache-tests/tests/index.mjs'
import surrogate from 'http-cache-tests/tests/surrogate-control.mjs'

export const suites = [...tests, surrogate].map(suite => ({
  ...suite,
  tests: suite.tests.filter(test => !test.browser_only)
}))

// The groups with no other tests than these.
export function only (ids) {
  return suites.map(suite => ({ ...suite, tests: suite.tests.filter(test => ids.includes(test.id)) }))
}
