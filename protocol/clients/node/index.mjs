export { SessionStore } from './store.mjs'
export { Codec, RecordReader } from './codec.mjs'
export { ErrorKind } from './methods.mjs'
export {
  AbortError,
  AnswerError,
  CallTimeout,
  ChildError,
  CodecError,
  ClosedError,
  OverloadError,
  Overloaded,
  RequestError,
  RequestTooLarge,
  SessionStoreError,
  StoreError,
  TimeoutError,
} from './errors.mjs'
