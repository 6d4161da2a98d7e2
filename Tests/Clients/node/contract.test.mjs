// The client against the contract: what is generated from it, what is typed, and that nothing is missing.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ErrorKind } from '../../../protocol/clients/node/index.mjs'
import { openStore, root } from './fixture.mjs'

const clients = join(root, 'protocol/clients')
const contract = JSON.parse(readFileSync(join(root, 'protocol/openrpc.json'), 'utf8'))
const camel = (name) => name.replace(/[._](.)/g, (_, letter) => letter.toUpperCase())

test('generating again gives the committed files', () => {
  const code = `
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, 'protocol/clients/generate')
import node
with open('protocol/openrpc.json', encoding='utf-8') as file:
    print(json.dumps(node.files(json.load(file))))`
  const { stdout, stderr, status } = spawnSync('python3', ['-c', code], { cwd: root, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const files = Object.entries(JSON.parse(stdout))
  assert.equal(files.length, 2)
  for (const [name, text] of files) {
    assert.equal(readFileSync(join(clients, name), 'utf8'), text, `${name}: run python3 protocol/clients/generate`)
  }
})

test('every method of the contract can be called as its example says', async (t) => {
  const store = await openStore(t)
  const byHand = new Set(['subscribe_events', 'subscribe_tasks', 'subscribe_work', 'unsubscribe', 'shutdown'])
  for (const { name, examples, params } of contract.methods) {
    if (byHand.has(name)) {
      assert.equal(store[camel(name)] !== undefined, name.startsWith('subscribe'), name)
      continue
    }
    const given = Object.fromEntries((examples?.[0].params ?? []).map((each) => [each.name, each.value]))
    if (['backup', 'archive'].includes(name)) given.path = '' // refused, for no file shall be made here
    try {
      const result = await (params.length > 0 ? store[camel(name)](given) : store[camel(name)]())
      assert.notEqual(result, undefined, name)
    } catch (error) {
      assert.equal(error.name, 'RequestError', `${name}: ${error.message}`)
      if (['backup', 'archive'].includes(name)) continue
      assert.ok(!['method_not_found', 'invalid_params'].includes(error.kind), `${name}: ${error.message}`)
    }
  }
})

test('every kind of error of the contract has its place in the types, and by its name', () => {
  const table = readFileSync(join(root, 'protocol/README.md'), 'utf8').matchAll(/^\| -?\d+ \| `(\w+)` \|/gm)
  const kinds = [...table].map(([, kind]) => kind)
  assert.ok(kinds.length >= 30)
  const read = (name) => readFileSync(join(clients, 'node', name), 'utf8')
  const types = read('methods.d.mts')
  for (const kind of kinds) {
    assert.ok(types.includes(`| '${kind}'`), kind)
    assert.equal(ErrorKind[kind], kind)
  }
  assert.ok(Object.isFrozen(ErrorKind))
})

/** Compiles without looking at anything but the libraries named. */
function compile(file, ...libraries) {
  const modules = ['--target', 'es2022', '--module', 'nodenext', '--moduleResolution', 'nodenext']
  const types = ['--typeRoots', join(root, 'no-types')]
  const args = ['--noEmit', '--strict', ...modules, ...types, '--lib', libraries.join(','), join(root, file)]
  const { stdout, status, error } = spawnSync('tsc', args, { cwd: root, encoding: 'utf8' })
  assert.ok(error === undefined, `tsc: ${error?.message} (the Debian package node-typescript has it)`)
  assert.equal(stdout, '')
  assert.equal(status, 0)
}

test('the declarations need neither the types of Node nor those of a browser', () => {
  compile('protocol/clients/node/index.d.mts', 'es2022')
})

test('a program that uses everything is checked by its types', () => {
  compile('Tests/Clients/node/typed.mts', 'es2022', 'dom')
})
