import { createHash } from 'node:crypto'
import { accessSync, closeSync, constants, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import { ChildError } from './errors.mjs'

const PROGRAM = 'mcp-session-store'
const HINT = ' Name the executable with the option `binary` or the environment variable MCP_SESSION_STORE_BINARY.'
const require = createRequire(import.meta.url)

/**
 * Where the executable is: what the option says, else MCP_SESSION_STORE_BINARY, else the package of this platform, else
 * `mcp-session-store` in PATH; these from the environment of the process, else from that of the host. A name without a
 * slash is looked for in PATH; a path counts from where the host is, whatever the working directory of the process will
 * be. What is named explicitly is not replaced by something else.
 */
export function findBinary(option, own = {}) {
  const env = { ...process.env, ...own }
  const asked = option ?? (env.MCP_SESSION_STORE_BINARY || undefined)
  if (asked !== undefined) {
    const candidates = asked.includes('/') ? [asked] : inPath(asked, env)
    const found = candidates.find(isExecutable)
    if (found !== undefined) return resolve(found)
    const where = option === undefined ? 'The environment variable MCP_SESSION_STORE_BINARY' : 'The option `binary`'
    const lack = asked.includes('/') ? 'there is no executable file of that name' : 'which is not in PATH'
    throw notFound(`${where} names '${asked}': ${lack}.${HINT}`)
  }
  const packaged = findPackaged()
  if (packaged.path !== undefined) return packaged.path
  const found = inPath(PROGRAM, env).find((path) => isExecutable(path) && !isScript(path))
  if (found !== undefined) return found
  throw notFound(`Cannot find the program '${PROGRAM}': ${packaged.lack} It is not in PATH either.${HINT}`)
}

/** The program in this platform's package: its path, or in a sentence what is wrong and what to do. */
export function findPackaged() {
  const name = `${PROGRAM}-${process.platform}-${process.arch}`
  const known = expected()
  if (known === null) return { lack: 'this copy of the client came without packages.' }
  if (known[name] === undefined) {
    return {
      lack: `there is no package for ${process.platform} on ${process.arch} (there is ` +
        `${Object.keys(known).join(', ')}): use a Linux container, or build the program from source.`,
    }
  }
  let manifest
  try {
    manifest = require.resolve(`${name}/package.json`)
  } catch {
    return {
      lack: `the package ${name} is not installed. It is an optional dependency: install without --omit=optional ` +
        '(or --no-optional); if node_modules or a lockfile came from another platform, delete both and install again.',
    }
  }
  const path = join(manifest, '..', 'bin', PROGRAM)
  const { version } = JSON.parse(readFileSync(manifest, 'utf8'))
  if (version !== known[name].version) {
    return { lack: `${name} is version ${version}, this client needs exactly ${known[name].version}: install again.` }
  }
  if (!isFile(path)) return { lack: `${path} is missing: install ${name} again.` }
  if (statSync(path).size !== known[name].bytes) return { lack: broken(path, known[name]) }
  if (!isExecutable(path)) return { lack: `${path} is not executable: run chmod +x ${path}.` }
  return { path }
}

/** When the packaged program could not be started or did not answer: whether its file is what was published. */
export function explainFailure(path) {
  try {
    const known = expected()?.[`${PROGRAM}-${process.platform}-${process.arch}`]
    if (known === undefined || findPackaged().path !== path) return ''
    const digest = createHash('sha256').update(readFileSync(path)).digest('hex')
    return digest === known.sha256 ? '' : ' ' + broken(path, known)
  } catch {
    // Gone meanwhile: this is not the place to fail.
    return ''
  }
}

function broken(path, { bytes, sha256 }) {
  return `${path} is not the file that was published (${bytes} bytes, SHA-256 ${sha256}): delete node_modules and ` +
    'install again; if it stays so, something on the way changes it.'
}

/** What the packages hold, by name; null in a copy of the sources. */
function expected() {
  try {
    return require('./program.json')
  } catch {
    return null
  }
}

function inPath(name, env) {
  return (env.PATH ?? '').split(delimiter).filter(isAbsolute).map((folder) => join(folder, name))
}

function isFile(path) {
  try {
    return statSync(path).isFile()
  } catch {
    return false
  }
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return isFile(path)
  } catch {
    return false
  }
}

/** npm puts this package's own command into PATH, which would only come back here. */
function isScript(path) {
  const file = openSync(path)
  try {
    const beginning = Buffer.alloc(2)
    readSync(file, beginning)
    return beginning.toString() === '#!'
  } finally {
    closeSync(file)
  }
}

function notFound(message) {
  return new ChildError(message, { reason: 'not_found' })
}
