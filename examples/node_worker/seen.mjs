// Reserves events in the table `seen`, so that copies of an event are not processed again.
import { createHash } from "node:crypto";
import { TableClient } from "@azure/data-tables";
import { DefaultAzureCredential } from "@azure/identity";

// Milliseconds: longer than the work takes, and shorter than all attempts to process a message.
const RESERVED = 60_000;
let table;

export async function connect() {
  const { ConsumerStorage__tableServiceUri: uri, AcrEventsStorage: emulator } = process.env;
  table = uri
    ? new TableClient(uri, "seen", new DefaultAzureCredential())
    : TableClient.fromConnectionString(emulator, "seen", { allowInsecureConnection: true });
  await table.createTable(); // or finds it
}

// Reserves an event for a message, or returns null if the event is processed already.
export async function reserve(queue, event, message) {
  const key = createHash("sha256").update(`${event.source} ${event.id}`).digest("hex");
  const row = { partitionKey: queue, rowKey: key, message, done: false };
  try {
    await table.createEntity(row); // of several at once, one succeeds
  } catch (error) {
    if (error.statusCode !== 409) throw error;
    const found = await table.getEntity(queue, key);
    if (found.done) return null;
    // The same message is here again only if its last attempt failed or was killed.
    if (found.message !== message && Date.now() - Date.parse(found.timestamp) < RESERVED)
      throw new Error("another message with this event is being processed");
    await table.updateEntity(row, "Replace", { etag: found.etag });
  }
  return row;
}

export async function done(row) {
  await table.upsertEntity({ ...row, done: true }, "Replace");
}
