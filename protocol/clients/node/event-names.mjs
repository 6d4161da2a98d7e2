import { createHash, randomBytes } from 'node:crypto'
import { digest } from './canonical-json.mjs'

// What everything of MCP Events is called in the store, and the cursors and ids that clients are given. All clients of
// the contract name it so: protocol/clients/events/README.md.

export const NAMESPACE = 'mcp-events'
const IS_NAMESPACE = /^[\x21-\x2e\x30-\x7e]{1,40}$/
const IS_NAME = /^[\x21-\x7e]{1,128}$/
const IS_EVENT_ID = /^[\x21-\x7e]{1,200}$/
const CURSOR = /^c1-([0-9a-f]{8})-(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})$/
/** All of it belongs to nobody. */
export const NOBODY = { tenant_id: null, principal: null }

/** The names that begin with a namespace, which servers that share a database and are no replicas choose apart. */
export class EventNames {
  constructor(namespace = NAMESPACE) {
    if (typeof namespace !== 'string' || !IS_NAMESPACE.test(namespace)) {
      throw new RangeError('namespace: 1 to 40 visible ASCII characters without a slash.')
    }
    this.namespace = namespace
    /** Work: what is still to be handed to subscriptions, and what is still to be sent. */
    this.fanout = `${namespace}/fanout`
    this.deliveries = `${namespace}/deliveries`
    this.ended = `${namespace}/ended`
    /** Values: how far topics were handed on, and receivers that proved themselves. */
    this.fanned = `${namespace}/fanned`
    this.verified = `${namespace}/verified`
  }

  /** The session that keeps the events of a type. */
  topic(name) {
    return `${this.namespace}/${name}`
  }

  /** The event type of a topic; undefined when it is of another namespace. */
  nameOf(topic) {
    const prefix = `${this.namespace}/`
    return topic.startsWith(prefix) ? topic.slice(prefix.length) : undefined
  }

  /** The same for the same subscription, over refreshes and restarts, in every language. */
  subscriptionId(principal, url, name, args) {
    return 'sub_' + digest([principal, url, this.topic(name), args]).slice(0, 32)
  }

  /** By which an event that its publisher named is remembered. */
  nonce(name, eventId) {
    return digest([this.topic(name), eventId])
  }
}

/** A position of a topic, as clients are given it: everything up to an event, in one life of the topic. */
export function cursorOf(topic, { epoch, id }) {
  return `c1-${mark(topic)}-${epoch}-${id}`
}

/** Where a cursor of this topic is, `{epoch, id}`; null when it is none of it. */
export function positionOf(topic, cursor) {
  const [, marked, epoch, id] = CURSOR.exec(cursor) ?? []
  if (marked !== mark(topic)) return null
  const position = { epoch: Number(epoch), id: Number(id) }
  return Number.isSafeInteger(position.epoch) && Number.isSafeInteger(position.id) ? position : null
}

/** The name of an event type, or a RangeError. */
export function checkedName(name) {
  if (typeof name === 'string' && IS_NAME.test(name)) return name
  throw new RangeError("An event type's name is 1 to 128 visible ASCII characters.")
}

/** An `eventId` that can stand in the header of a webhook, or a RangeError. */
export function checkedEventId(eventId) {
  if (typeof eventId === 'string' && IS_EVENT_ID.test(eventId)) return eventId
  throw new RangeError('An eventId is 1 to 200 visible ASCII characters.')
}

/** Of an event whose publisher gives it none. */
export function newEventId() {
  return 'evt_' + randomDigits()
}

/** The `webhook-id` of a delivery, where each has its own; the same in each attempt. */
export function messageId(subscriptionId, eventId) {
  return 'msg_' + digest([subscriptionId, eventId]).slice(0, 32)
}

/** By which it is remembered that a receiver proved itself to somebody. */
export function receiverKey(principal, url) {
  return digest([principal, url])
}

/** 32 hexadecimal digits that nobody can guess. */
export function randomDigits() {
  return randomBytes(16).toString('hex')
}

function mark(topic) {
  return createHash('sha256').update(topic).digest('hex').slice(0, 8)
}
