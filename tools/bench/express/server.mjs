// A receiver as one would write it for Node.js: validates a push, makes a CloudEvent of it, and puts
// it on a queue. Prints its port. Settings: CONNECTION, QUEUE, SCHEMA (a file).
import { readFileSync } from 'node:fs'
import { QueueServiceClient } from '@azure/storage-queue'
import Ajv from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import express from 'express'

const ajv = new Ajv({ strict: false, allErrors: true })
addFormats(ajv)
const valid = ajv.compile(JSON.parse(readFileSync(process.env.SCHEMA, 'utf8')))
const queue = QueueServiceClient.fromConnectionString(process.env.CONNECTION).getQueueClient(
  process.env.QUEUE
)

const app = express()
app.use(express.json({ type: () => true }))
app.post('/', async (request, response) => {
  const delivery = request.body
  if (!valid(delivery)) return response.status(422).json({ errors: valid.errors })
  const { target } = delivery
  const event = {
    specversion: '1.0',
    id: delivery.id,
    source: `https://${delivery.request.host}`,
    type: 'Microsoft.ContainerRegistry.ImagePushed',
    subject: target.tag ? `${target.repository}:${target.tag}` : target.repository,
    time: delivery.timestamp,
    datacontenttype: 'application/json',
    data: delivery
  }
  const message = Buffer.from(JSON.stringify(event)).toString('base64')
  await queue.sendMessage(message, { messageTimeToLive: -1 })
  return response.status(202).json({ id: event.id, type: event.type, queues: [process.env.QUEUE] })
})

const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port))
