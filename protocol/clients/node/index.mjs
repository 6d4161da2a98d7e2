export { SessionStore } from './store.mjs'
export {
  AbortError,
  ChildError,
  ClosedError,
  OverloadError,
  SessionStoreError,
  StoreError,
  TimeoutError,
} from './errors.mjs'
