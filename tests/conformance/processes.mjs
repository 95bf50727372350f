// Starts the suite's origin, Larder and the suite's client, and sees to it that none outlives this process.

import { fork, spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))
const suite = path.join(here, 'node_modules', 'http-cache-tests')
// Where the examples say that the application listens.
const APPLICATION = '127.0.0.1:8000'
const START_LIMIT = 60_000
const RUN_LIMIT = 300_000

const children = new Set()
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'larder-conformance-'))

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  fs.rmSync(folder, { recursive: true, force: true })
})
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]]) {
  process.on(signal, () => process.exit(code))
}

function keep (child) {
  children.add(child)
  child.on('exit', () => children.delete(child))
  return child
}

// A program whose output is kept line by line.
class Program {
  constructor (name, command, args, env, echo) {
    this.name = name
    this.lines = []
    this.child = keep(spawn(command, args, { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] }))
    this.child.on('error', error => this.lines.push(String(error)))
    for (const pipe of [this.child.stdout, this.child.stderr]) {
      readline.createInterface({ input: pipe }).on('line', line => {
        this.lines.push(line)
        if (echo) console.log(line)
      })
    }
  }

  get ended () {
    return !children.has(this.child) || this.child.pid === undefined
  }

  // The first group of `pattern` in what it prints, as soon as it is there.
  async printed (pattern) {
    const until = Date.now() + START_LIMIT
    for (;;) {
      await new Promise(resolve => setTimeout(resolve, 20))
      const found = this.lines.map(line => pattern.exec(line)).find(match => match)
      if (found) return found[1]
      if (this.ended || Date.now() > until) throw new Error(`${this.name} did not start:\n${this.tail()}`)
    }
  }

  tail () {
    return this.lines.slice(-20).join('\n')
  }
}

// The suite's origin, on a free port of the loopback interface. Gives its address.
export async function startOrigin (echo) {
  const env = {
    ...process.env,
    npm_config_protocol: 'http',
    npm_config_port: '0',
    npm_config_pidfile: path.join(folder, 'origin.pid')
  }
  const args = ['--no-warnings', '--require', path.join(here, 'loopback.cjs'), path.join(suite, 'server', 'server.mjs')]
  const origin = new Program('the origin', process.execPath, args, env, echo)
  return { origin, address: await origin.printed(/^Listening on http:\/\/([0-9.:]+)\//) }
}

// Larder with this configuration, on a free port and in front of `application`. Gives its URL.
export async function startLarder (program, config, application, echo) {
  const text = fs.readFileSync(config, 'utf8')
  if (!text.includes(APPLICATION)) throw new Error(`${config} names no application at ${APPLICATION}`)
  const elsewhere = text.replace(/^listen:.*\n/m, '').replaceAll(APPLICATION, application)
  const file = path.join(folder, 'larder.yaml')
  fs.writeFileSync(file, `listen: 127.0.0.1:0\n${elsewhere}`)
  const { RUST_LOG, ...env } = process.env
  const larder = new Program('Larder', program, ['run', '-c', file], env, echo)
  return { larder, base: await larder.printed(/listening on (http:\/\/[0-9.:]+)/) }
}

// Runs the suite's client to its end. Gives the results by id.
export function runClient (base, mode, ids = []) {
  return new Promise((resolve, reject) => {
    const options = { cwd: folder, execArgv: ['--no-warnings'], timeout: RUN_LIMIT }
    const client = keep(fork(path.join(here, 'client.mjs'), [base, mode, ...ids], options))
    let results
    client.on('message', message => { results = message })
    client.on('error', reject)
    client.on('exit', (code, signal) => {
      if (results) resolve(results)
      else reject(new Error(`the suite's client ended (${signal ?? code}) without results`))
    })
  })
}
