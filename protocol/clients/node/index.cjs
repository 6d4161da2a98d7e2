// For `require`: Node loads ES modules by it since 20.19 and 22.12.
'use strict'

try {
  module.exports = require('./index.mjs')
} catch (error) {
  if (error.code !== 'ERR_REQUIRE_ESM') throw error
  throw new Error(
    `Node ${process.versions.node} cannot load mcp-session-store by require(): use ` +
      "await import('mcp-session-store'), or Node 20.19 or 22.12 or newer.",
    { cause: error },
  )
}
