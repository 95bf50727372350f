// What the results of a run mean: verdicts, tables, and what is wrong. Pure.

import { determineTestResult } from 'http-cache-tests/lib/display.mjs'
import { suites } from './suites.mjs'

const PASS = '✅'
const YES = 'Y'
const KINDS = [
  ['required', 'what the RFCs demand'],
  ['optimal', 'what a good cache does besides'],
  ['check', 'for information: neither answer is wrong']
]

// One verdict for each test, in the order of the suite. The package's own judgement counts, each test by itself.
export function judge (results) {
  return suites.flatMap(suite => suite.tests.map(test => {
    const mark = determineTestResult(suites, test.id, results, false)[2]
    const result = results[test.id]
    return {
      group: suite.name,
      id: test.id,
      name: test.name,
      kind: test.kind ?? 'required',
      passed: mark === PASS || mark === YES,
      mark,
      reason: Array.isArray(result) ? result.join(': ') : result === undefined ? 'it did not run' : ''
    }
  }))
}

// The names of all tests that some departure names.
export function named (departures) {
  return new Set(departures.flatMap(departure => departure.tests))
}

// The verdicts that are not as they should be: tests that fail and are not named, and named ones that pass.
export function unexpected (verdicts, departures) {
  const names = named(departures)
  return verdicts.filter(({ kind, passed, id }) => kind !== 'check' && passed === names.has(id))
}

// What is wrong with the list of departures itself.
export function faults (departures) {
  const tests = new Map(suites.flatMap(suite => suite.tests).map(test => [test.id, test.kind ?? 'required']))
  const seen = new Set()
  const complaints = []
  for (const { tests: ids, rfc, why } of departures) {
    if (!rfc || !why) complaints.push(`the departure of ${ids} has no clause or no reason`)
    for (const id of ids) {
      if (!tests.has(id)) complaints.push(`the departures name ${id}: there is no such test`)
      if (tests.get(id) === 'check') complaints.push(`the departures name ${id}, which is for information only`)
      if (seen.has(id)) complaints.push(`the departures name ${id} twice`)
      seen.add(id)
    }
  }
  return complaints
}

// The tables by kind and by group, in Markdown.
export function tables (verdicts, departures) {
  const names = named(departures)
  const count = (list, wanted) => list.filter(wanted).length
  const kinds = KINDS.filter(([kind]) => kind !== 'check').map(([kind, meaning]) => {
    const all = verdicts.filter(verdict => verdict.kind === kind)
    const departs = count(all, ({ passed, id }) => !passed && names.has(id))
    const passed = count(all, verdict => verdict.passed)
    return [kind, meaning, all.length, passed, departs, all.length - passed - departs]
  })
  const groups = suites.map(suite => [suite.name, ...KINDS.map(([kind]) => {
    const all = verdicts.filter(verdict => verdict.group === suite.name && verdict.kind === kind)
    if (all.length === 0) return ''
    return kind === 'check' ? all.length : `${count(all, verdict => verdict.passed)} of ${all.length}`
  })])
  const checks = count(verdicts, ({ kind }) => kind === 'check')
  return [
    table(['kind', 'meaning', 'tests', 'passed', 'departures', 'other failures'], [
      ...kinds, ['check', KINDS[2][1], checks, '', '', '']
    ]),
    table(['group', 'required', 'optimal', 'check'], groups)
  ].join('\n')
}

// The departures, in Markdown.
export function departed (departures) {
  return table(['tests', 'clause', 'why'], departures.map(({ tests, rfc, why }) => [
    tests.map(id => `\`${id}\``).join(', '), rfc, why
  ]))
}

function table (head, rows) {
  const line = cells => `| ${cells.map(cell => String(cell).replaceAll('|', '\\|')).join(' | ')} |\n`
  return line(head) + `|${'---|'.repeat(head.length)}\n` + rows.map(line).join('')
}
