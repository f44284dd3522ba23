// Receives events from a queue and prints what to pull: node worker.mjs <queue>
import { setTimeout } from "node:timers/promises";
import { EventGridDeserializer } from "@azure/eventgrid";
import { DefaultAzureCredential } from "@azure/identity";
import { QueueServiceClient } from "@azure/storage-queue";
import * as seen from "./seen.mjs";

const ATTEMPTS = 5;
const HIDDEN = 30; // seconds for which a message in hand is hidden: longer than the work takes
const PAUSE = 2; // seconds between looks at an empty queue

function work(event) {
  console.log(event.type, event.subject, event.extensionAttributes?.acrreference ?? "");
}

function fail(status, reason) {
  console.error(reason);
  process.exit(status);
}

const [, , name, ...others] = process.argv;
if (!name || others.length > 0) fail(2, "Name the queue: node worker.mjs <queue>");
const { AcrEventsStorage__queueServiceUri: uri, AcrEventsStorage: emulator } = process.env;
const identity = uri && process.env.ConsumerStorage__tableServiceUri;
if (!identity && !emulator)
  fail(
    2,
    "Set AcrEventsStorage__queueServiceUri and ConsumerStorage__tableServiceUri, " +
      "or AcrEventsStorage for Azurite.",
  );

const account = identity
  ? new QueueServiceClient(uri, new DefaultAzureCredential())
  : QueueServiceClient.fromConnectionString(emulator);
const queue = account.getQueueClient(name);
const poison = account.getQueueClient(`${name}-poison`);
const deserializer = new EventGridDeserializer();

async function handle(message) {
  if (message.dequeueCount > ATTEMPTS) return move(message.messageText);
  const json = Buffer.from(message.messageText, "base64").toString();
  const [event] = await deserializer.deserializeCloudEvents(json);
  const row = await seen.reserve(name, event, message.messageId);
  if (!row) return console.log("seen before:", event.id);
  await work(event);
  await seen.done(row);
}

async function move(content) {
  const send = () => poison.sendMessage(content, { messageTimeToLive: -1 });
  await send().catch(async (error) => {
    if (error.statusCode !== 404) throw error;
    await poison.create();
    await send();
  });
}

async function explain(error) {
  const code = error.code ?? error.details?.errorCode;
  if (["AuthorizationPermissionMismatch", "AuthorizationFailure"].includes(code))
    return `Storage refuses: give the identity the roles that a worker needs (${code}).`;
  if (code !== "QueueNotFound") return error.message;
  try {
    const names = [];
    for await (const each of account.listQueues()) names.push(each.name);
    return `There is no queue ${name}. There are: ${names.join(", ") || "none"}.`;
  } catch {
    return `There is no queue ${name}.`; // the role does not allow to list them
  }
}

const stop = new AbortController(); // ends after the message in hand
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => stop.abort());
try {
  await seen.connect();
  while (!stop.signal.aborted) {
    const { receivedMessageItems } = await queue.receiveMessages({ visibilityTimeout: HIDDEN });
    for (const message of receivedMessageItems) {
      try {
        await handle(message);
        await queue.deleteMessage(message.messageId, message.popReceipt);
      } catch (error) {
        // It is visible again when its time is over.
        console.error(`${message.messageId}, attempt ${message.dequeueCount}: ${error.message}`);
      }
    }
    if (receivedMessageItems.length === 0)
      await setTimeout(PAUSE * 1000, null, { signal: stop.signal }).catch(() => {});
  }
} catch (error) {
  fail(1, await explain(error));
}
