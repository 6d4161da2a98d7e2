// A server in Node for the tests of the other language: each line asks for something, and is answered by a line.
//
//     node across.mjs PROGRAM DATABASE

import { createInterface } from 'node:readline'
import { EventBus } from '../../../protocol/clients/node/event-bus.mjs'
import { EventsExtension } from '../../../protocol/clients/node/events-extension.mjs'
import { SessionStore } from '../../../protocol/clients/node/index.mjs'
import { TaskWorker } from '../../../protocol/clients/node/task-worker.mjs'
import { WebhookSender } from '../../../protocol/clients/node/webhook-sender.mjs'

const [binary, database] = process.argv.slice(2)
const store = await SessionStore.open({ binary, database })
const types = [{ name: 'thing.changed', description: 'A thing changed.', delivery: ['poll', 'push', 'webhook'] }]
const events = new EventsExtension(store, { types })
const onError = (error) => console.error(error)
const sender = new WebhookSender(events, { insecure: true, delays: [5, 5, 5, 5], onError })
const tools = {
  node: (job) => {
    const question = { method: 'elicitation/create' }
    if (job.input.size === undefined) return job.ask({ size: question }, { state: { by: 'node' } })
    return { content: [{ type: 'text', text: `${job.request.params.arguments.of} ${job.input.size} ${job.state.by}` }] }
  },
}
const worker = new TaskWorker(store, { tools, onError })
const bus = new EventBus(store, { onError })
const heard = []
const contextOf = (principal) => (principal === undefined ? {} : { authInfo: { clientId: principal } })

const actions = {
  publish: ({ data, ...options }) => events.publish('thing.changed', data, options),
  poll: ({ principal, ...params }) => events.poll(params, contextOf(principal)),
  subscribe: ({ principal, ...params }) => sender.subscribe(params, contextOf(principal)),
  unsubscribe: ({ principal, ...params }) => sender.unsubscribe(params, contextOf(principal)),
  send: () => void sender.start(),
  work: () => void worker.start(),
  rest: () => worker.stop(),
  create: (task) => worker.create(task),
  get: ({ taskId, ...access }) => worker.get(taskId, access),
  update: ({ taskId, answers, ...access }) => worker.update(taskId, answers, access),
  listen: () => {
    bus.subscribe((event) => heard.push(event))
    return bus.open()
  },
  tell: (event) => bus.publish(event),
  heard: () => heard,
}

for await (const line of createInterface({ input: process.stdin })) {
  const { action, ...params } = JSON.parse(line)
  let answer
  try {
    answer = { result: (await actions[action](params)) ?? null }
  } catch ({ code, message }) {
    answer = { error: { code, message } }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
process.exit()
