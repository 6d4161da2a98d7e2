/** Types that become comments without an id, which would replace the client's Last-Event-ID. */
const HEARTBEATS = new Set(['ping', 'keepalive'])
/** What would begin a field of its own in a type. */
const LINE_ENDS = /\r\n|[\n\r\v\f\u0085\u2028\u2029]/g

/**
 * A page of events with `frames` in the place of them: text/event-stream, made here as the program makes it, where it
 * cannot read what the events say.
 */
export function toFrames({ events, ...page }, isTyped) {
  return { frames: events.map((event) => toFrame(event, isTyped)).join(''), ...page }
}

/** What a subscription tells and is no event, as a frame. */
export function toNotice(kind, told) {
  return kind === 'heartbeat' ? ': keepalive\n\n' : `event: ${kind}\ndata: ${JSON.stringify(told)}\n\n`
}

/** An event as a frame. */
export function toFrame({ id, event_type, data, retry }, isTyped) {
  if (HEARTBEATS.has(event_type)) return ': keepalive\n\n'
  const name = isTyped ? event_type.replace(LINE_ENDS, ' ') : 'message'
  const pause = retry === null ? '' : `retry: ${retry}\n`
  return `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n${pause}\n`
}
