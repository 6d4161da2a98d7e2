export * from './codec.mjs'
export * from './errors.mjs'
export * from './methods.mjs'
export * from './store.mjs'
export * from './subscription.mjs'
// Two things of one name: what `subscribeEvents` returns, and the record of the contract.
export type { EventSubscription } from './subscription.mjs'
export type { EventSubscription as EventSubscriptionRecord } from './methods.mjs'
