// Receives events from a queue and prints what to pull: node worker.mjs <queue>
import { setTimeout } from "node:timers/promises";
import { EventGridDeserializer } from "@azure/eventgrid";
import { QueueClient } from "@azure/storage-queue";

const account = process.env.AcrEventsStorage;
const [, , name] = process.argv;
const queue = new QueueClient(account, name);
const poison = new QueueClient(account, `${name}-poison`);
const deserializer = new EventGridDeserializer();
await queue.createIfNotExists();
await poison.createIfNotExists();

async function work(message) {
  const json = Buffer.from(message.messageText, "base64").toString();
  const [event] = await deserializer.deserializeCloudEvents(json);
  console.log(event.type, event.extensionAttributes?.acrreference ?? event.subject);
}

while (true) {
  // Hidden from other workers for 30 seconds: longer than the work takes.
  const { receivedMessageItems } = await queue.receiveMessages({ visibilityTimeout: 30 });
  for (const message of receivedMessageItems) {
    try {
      if (message.dequeueCount > 5) await poison.sendMessage(message.messageText, { messageTimeToLive: -1 });
      else await work(message);
      await queue.deleteMessage(message.messageId, message.popReceipt);
    } catch (error) {
      console.error(message.messageId, error.message); // it is visible again when its time is over
    }
  }
  if (receivedMessageItems.length === 0) await setTimeout(2000);
}
