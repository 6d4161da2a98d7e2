import type { AnyServerEvent } from './event-bus.mjs'
import type { TransactionCall } from './methods.mjs'
import type { SessionStore } from './store.mjs'

/** The extension's name among the capabilities. */
export declare const EXTENSION: 'io.modelcontextprotocol/events'

export type DeliveryMode = 'poll' | 'push' | 'webhook'

/** `sep-3415`, or `sketch`, which ChatGPT speaks: other codes of errors, and no envelopes. */
export type EventsProfileName = 'sep-3415' | 'sketch'

/** A type of event that a server offers. */
export interface EventType {
  /** 1 to 128 visible ASCII characters. */
  name: string
  description?: string
  /** How clients may have it; poll and push when absent. Webhooks need a `WebhookSender`. */
  delivery?: readonly DeliveryMode[]
  /** JSON Schema of the arguments, and of the `data` of its events. */
  inputSchema?: object
  payloadSchema?: object
  _meta?: object
  /** Whether an event is for who gave these arguments. When absent: each equals the member of its name in `data`. */
  matches?: (args: any, data: any, principal: string | null) => boolean
  /** Whether a principal may have events for these arguments; asked at first, and again while it gets them. */
  allows?: (principal: string | null, args: any) => boolean | Promise<boolean>
  /** Throws when arguments are wrong: the client is told why. */
  validate?: (args: any) => unknown
}

/** Something that happened, as clients get it. */
export interface Occurrence {
  eventId: string
  name: string
  /** RFC 3339 */
  timestamp: string
  data: any
  _meta?: object
}

/** What is needed of the context of a request: that of the TypeScript SDK 1.x or 2.x. */
export interface RequestContext {
  authInfo?: { clientId?: string }
  http?: { authInfo?: { clientId?: string } }
  /** 2.x */
  mcpReq?: { id: string | number; signal?: AbortSignalLike; notify(notification: any): unknown }
  /** 1.x */
  requestId?: string | number
  signal?: AbortSignalLike
  sendNotification?(notification: any): unknown
}

interface AbortSignalLike {
  readonly aborted: boolean
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
}

/** What a client is refused with; the SDKs make a JSON-RPC error of it. */
export declare class EventsError extends Error {
  constructor(code: number, message: string, data?: object)
  readonly code: number
  readonly data?: any
}

export interface EventsExtensionOptions {
  types?: readonly EventType[]
  /** Servers that share a database and are no replicas of each other take one each; `mcp-events` when absent. */
  namespace?: string
  profile?: EventsProfileName
  /** Who asks, from the context of the request; its `authInfo.clientId` when absent. */
  principalOf?: (ctx: any) => string | null | undefined
  /** Told when the types change: an `EventBus`, so that all replicas tell their clients. */
  bus?: { publish(event: AnyServerEvent): void } | null
  /** Until a client should ask again; 5,000. */
  nextPollMs?: number
  /** Events in the answer to a poll that says nothing; 100. */
  maxEvents?: number
  /** 15,000 */
  heartbeatMs?: number
  /** Hears what fails beside a request. */
  onError?: (error: unknown) => void
}

export interface PollResult {
  resultType: 'complete'
  events: Occurrence[]
  cursor: string
  truncated: boolean
  hasMore: boolean
  nextPollMs: number
}

export interface PublishOptions {
  /** That of where it comes from, 1 to 200 visible ASCII characters: within a day it is published once. */
  eventId?: string
  /** When it happened; now when absent. */
  timestamp?: Date | number | string
  _meta?: object
}

type Handler = (params: any, ctx?: any) => Promise<any>

/**
 * The events extension of MCP over the store: `events/list`, `events/poll` and `events/stream`, with cursors that
 * outlive restarts, and publishing. All servers on a store serve what any of them publishes.
 */
export declare class EventsExtension {
  constructor(store: SessionStore, options?: EventsExtensionOptions)
  readonly store: SessionStore

  /** What the server declares; in both places, for the clients of both worlds. */
  readonly capabilities: { events: { listChanged: true }; extensions: { [name: string]: { listChanged: true } } }

  /** The methods and who answers them; those of webhooks too, once there is a `WebhookSender`. */
  readonly handlers: { readonly [method: string]: Handler }

  /** Adds a type of event, or replaces the one of its name by one that only adds to it. */
  define(type: EventType): void

  /** Takes a type away, here: its streams end. Webhooks are ended by `WebhookSender.endAll`. */
  withdraw(name: string): void

  type(name: string): EventType | undefined

  /** Resolves when it is on disk, and so on its way to everybody who follows the type. */
  publish(name: string, data: object, options?: PublishOptions): Promise<{ eventId: string; isDuplicate: boolean }>

  /**
   * The calls that publish, for a transaction of your own. The topic must be there: `await events.topic(name).make()`.
   */
  calls(name: string, data: object, options?: PublishOptions): { eventId: string; calls: TransactionCall[] }

  topic(name: string): { readonly session_id: string; make(): Promise<void> }

  /** Where a type stands now: from there on a client misses nothing. */
  cursor(name: string): Promise<string>

  list(params?: any, ctx?: any): Promise<{ resultType: 'complete'; events: object[] }>
  poll(params: any, ctx?: any): Promise<PollResult>
  /** Resolves when the request is cancelled; the context says how to notify. */
  stream(params: any, ctx: RequestContext): Promise<{ resultType: 'complete' }>

  /** A type as a source for a server that serves the extension itself. */
  source(
    name: string,
  ): (params: any, cursor: string | null, ctx?: any) => Promise<Omit<PollResult, 'resultType'>>
}
