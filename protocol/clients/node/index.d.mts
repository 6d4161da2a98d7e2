export * from './errors.mjs'
export * from './methods.mjs'
export * from './store.mjs'
export * from './subscription.mjs'
