import { spawn } from 'node:child_process'
import { ChildError } from './errors.mjs'
import { isBusy } from './event-loop.mjs'
import { explainFailure } from './program.mjs'
import { clearTimeout, nextTick, setTimeout } from './timers.mjs'

const NEWLINE = 0x0a
/** A longer line is none of the sidecar's: V8 could not hold it as one string. */
const LONGEST_LINE = 256 << 20
const LONGEST_REMARK = 4096
const REMARKS_KEPT = 5
/** After the exit the pipes end at once, unless somebody else holds them. */
const PIPES_END_WITHIN = 1000
/** Lines that are taken at once. */
const PIECE = 16
/** What a process gets between a signal and the next harder one, or until it is taken for gone. */
export const GRACE = 1000

/**
 * Options as arguments: `{max_sessions: 10, exclusive: true}` is `--max-sessions 10 --exclusive`; null, undefined and
 * false leave an option out. An array is taken as it is.
 */
export function toArguments(options = {}) {
  if (Array.isArray(options)) return options.map(String)
  return Object.entries(options).flatMap(([name, value]) => {
    if (value === undefined || value === null || value === false) return []
    const flag = '--' + name.replace(/[A-Z]/g, (letter) => '-' + letter.toLowerCase()).replaceAll('_', '-')
    return value === true ? [flag] : [flag, String(value)]
  })
}

/** Cuts bytes into lines at "\n" and nowhere else; a character that is cut by a chunk is whole again in its line. */
export class LineSplitter {
  #pieces = []
  #size = 0

  /** Bytes of the line that has not ended yet. */
  get pendingBytes() {
    return this.#size
  }

  /** Calls `take(text, bytes)` for each line that `chunk` ends. */
  push(chunk, take) {
    let start = 0
    const last = chunk.lastIndexOf(NEWLINE)
    if (last >= 0 && this.#pieces.length > 0) {
      start = chunk.indexOf(NEWLINE) + 1
      this.#pieces.push(chunk.subarray(0, start - 1))
      this.end(take)
    }
    if (last >= start) {
      // All whole lines are read at once: one by one is dearer than to cut text.
      const text = chunk.toString('utf8', start, last)
      const isShort = text.length === last - start
      for (const line of text.split('\n')) take(line, isShort ? line.length : Buffer.byteLength(line))
      start = last + 1
    }
    if (start < chunk.length) {
      this.#pieces.push(chunk.subarray(start))
      this.#size += chunk.length - start
    }
  }

  /** Hands out what is there as a line, though no newline came. */
  end(take) {
    const line = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces)
    this.#pieces = []
    this.#size = 0
    take(line.toString('utf8'), line.length)
  }
}

/**
 * Hands out lines, `[text, bytes, text, bytes, …]`. Where there are many, `between` is called behind each piece of
 * them, once all has run that they led to: so that it is written, and the process works while the next ones are taken.
 * Not where the event loop waits most of the time: it waits for the disk then, and what is written together shares a
 * sync.
 */
export function takeInPieces(lines, take, between, isLoopBusy = isBusy) {
  let next = 0
  const goOn = () => {
    if (next > 0) between()
    const end = next + 2 * PIECE < lines.length && isLoopBusy() ? next + 2 * PIECE : lines.length
    for (; next < end; next += 2) take(lines[next], lines[next + 1])
    // Behind all that waits for promises by now. A host's fake timers, which have a queueMicrotask too, cannot hold it.
    if (next < lines.length) Promise.resolve().then(() => nextTick(goOn))
  }
  goOn()
}

/**
 * One process of the sidecar: lines in, lines out. It knows nothing of JSON-RPC. Nothing here throws or emits later:
 * whatever goes wrong ends in `onGone`, once.
 */
export class Child {
  #binary
  #process
  #remarks = []
  #isGone = false
  #hasSpoken = false
  #fault = null
  #isReferenced = true
  #isEnding = false
  /** For what should have ended by now. */
  #timer = null

  /**
   * `onLine(text, bytes)`, `onPause()` between lines that came together, `onDrain()`, `onRemark(line)` for standard
   * error, `onGone(ChildError)`.
   */
  constructor(binary, args, { cwd, env, onLine, onPause, onDrain, onRemark, onGone }) {
    this.#binary = binary
    this.onGone = onGone
    this.onRemark = onRemark
    try {
      // A session of its own: Ctrl-C on a terminal goes to the whole group, and the host shall be able to finish
      // its work on it. The end of the input ends the sidecar in any case.
      this.#process = spawn(binary, args, { cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
    } catch (error) {
      queueMicrotask(() => this.#gone(notStartable(binary, error)))
      return
    }
    const { stdin, stdout, stderr } = this.#process
    // As long as the process runs it holds the event loop, if it is to; its pipes need not.
    for (const pipe of [stdin, stdout, stderr]) pipe?.unref()
    this.#process.on('error', (error) => {
      if (this.#process.pid === undefined) this.#gone(notStartable(binary, error))
    })
    this.#process.on('exit', (code, signal) => {
      const late = setTimeout(() => {
        // Somebody else holds its pipes: what it started, and left behind.
        this.#signalGroup('SIGKILL')
        this.#ended(code, signal)
      }, PIPES_END_WITHIN)
      this.#process.on('close', () => {
        clearTimeout(late)
        this.#ended(code, signal)
      })
    })

    const answers = new LineSplitter()
    const take = (text, bytes) => {
      try {
        onLine(text, bytes)
      } catch (error) {
        this.onRemark(`a line that this client cannot make anything of: ${error}: ${text.slice(0, 200)}`)
      }
    }
    stdout?.on('data', (chunk) => {
      if (this.#isGone) return
      this.#hasSpoken = true
      const lines = []
      answers.push(chunk, (text, bytes) => lines.push(text, bytes))
      takeInPieces(lines, take, onPause)
      if (answers.pendingBytes > LONGEST_LINE) {
        const text = `'${binary}' wrote a line without end: is it mcp-session-store?`
        this.fail(new ChildError(text, { reason: 'not_a_sidecar' }))
      }
    })
    // One that will not answer or listen any more, though it may still run, is of no use.
    stdout?.on('end', () => this.#lost(`'${binary}' closed its output.`))
    stdout?.on('error', () => this.#lost(`The output of '${binary}' cannot be read.`))
    stdin?.on('error', () => this.#lost(`'${binary}' closed its input.`))
    stdin?.on('drain', onDrain)

    const remarks = new LineSplitter()
    const remark = (line) => this.#remark(line)
    stderr?.on('data', (chunk) => {
      remarks.push(chunk, remark)
      if (remarks.pendingBytes > LONGEST_REMARK) remarks.end(remark)
    })
    stderr?.on('end', () => remarks.pendingBytes > 0 && remarks.end(remark))
    stderr?.on('error', () => {})
  }

  get pid() {
    return this.#process?.pid ?? null
  }

  /** False when the pipe is full: `onDrain` says when to go on. */
  write(text) {
    const { stdin } = this.#process ?? {}
    return stdin?.writable ? stdin.write(text) : true
  }

  /** Ends the input, which ends the process once it has answered everything. */
  end() {
    this.#isEnding = true
    this.#process?.stdin?.end()
  }

  /** Sends a signal to it and to what it started: it leads a group of its own. */
  kill(signal) {
    const { pid, exitCode, signalCode } = this.#process ?? {}
    if (this.#isGone || pid === undefined || exitCode !== null || signalCode !== null) return
    if (!this.#signalGroup(signal)) this.#process.kill(signal)
  }

  #signalGroup(signal) {
    try {
      return process.kill(-this.#process.pid, signal)
    } catch {
      return false
    }
  }

  /** Whether this process keeps the host's event loop alive. */
  reference(wanted) {
    if (wanted === this.#isReferenced) return
    this.#isReferenced = wanted
    if (wanted) this.#process?.ref()
    else this.#process?.unref()
  }

  /** It is of no use: ends it, and gives `error` as the reason; at once, if it cannot be ended. */
  fail(error) {
    if (this.#fault !== null || this.#isGone) return
    this.#fault = error
    this.kill('SIGKILL')
    this.#timer = setTimeout(() => this.#gone(error), GRACE)
  }

  /** A pipe is broken. Most of the time the process has just ended, and it is soon known how. */
  #lost(text) {
    if (this.#timer !== null || this.#isGone) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.fail(new ChildError(text, { reason: 'exited' }))
    }, GRACE)
    // With a signal it is known sooner; who closes its input and is well ends by itself.
    if (!this.#isEnding) this.kill('SIGTERM')
  }

  #remark(line) {
    const text = line.replace(/\r$/, '')
    if (text === '') return
    this.#remarks.push(text)
    if (this.#remarks.length > REMARKS_KEPT) this.#remarks.shift()
    this.onRemark(text)
  }

  #ended(exitCode, signal) {
    const how = signal === null ? `with code ${exitCode}` : `by signal ${signal}`
    let said = this.#remarks.length === 0 ? '' : ' It said: ' + this.#remarks.join(' | ')
    if (!this.#hasSpoken) said += explainFailure(this.#binary)
    this.#gone(
      this.#fault ??
        new ChildError(`The process of mcp-session-store ended ${how}.${said}`, { reason: 'exited', exitCode, signal }),
    )
  }

  #gone(error) {
    if (this.#isGone) return
    this.#isGone = true
    clearTimeout(this.#timer)
    const { stdin, stdout, stderr } = this.#process ?? {}
    for (const stream of [stdin, stdout, stderr]) stream?.destroy()
    this.onGone(error)
  }
}

function notStartable(binary, error) {
  const text = `Cannot start '${binary}': ${error.message}.${explainFailure(binary)}`
  return new ChildError(text, { reason: 'not_startable', cause: error })
}
