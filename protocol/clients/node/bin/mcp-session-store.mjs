#!/usr/bin/env node
// The command of the package: the program, with this process's input, output, signals and exit code.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { findPackaged } from '../program.mjs'

const { path, lack } = findPackaged()
if (path === undefined) fail(lack)
else if (typeof process.execve === 'function') process.execve(path, ['mcp-session-store', ...process.argv.slice(2)])
else {
  const child = spawn(path, process.argv.slice(2), { stdio: 'inherit' })
  child.on('error', (error) => fail(`${path} cannot be run: ${error.message}`))
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
  // The terminal tells the whole group; a signal that came to this process alone is handed on.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => child.kill(signal))
}

function fail(text) {
  process.stderr.write(`mcp-session-store: ${text}\n`)
  process.exit(69)
}
