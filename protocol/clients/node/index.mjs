export { SessionStore } from './store.mjs'
export { ErrorKind } from './methods.mjs'
export {
  AbortError,
  AnswerError,
  CallTimeout,
  ChildError,
  ClosedError,
  OverloadError,
  Overloaded,
  RequestError,
  RequestTooLarge,
  SessionStoreError,
  StoreError,
  TimeoutError,
} from './errors.mjs'
