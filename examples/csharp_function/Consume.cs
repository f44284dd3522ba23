using Azure.Messaging;
using Azure.Messaging.EventGrid;
using Azure.Messaging.EventGrid.SystemEvents;
using Azure.Storage.Queues.Models;
using Microsoft.Azure.Functions.Worker;
using Microsoft.Extensions.Logging;

public class Consume(Seen seen, ILogger<Consume> log)
{
    [Function(nameof(Consume))]
    public async Task Run(
        [QueueTrigger("%AcrQueue%", Connection = "AcrEventsStorage")] QueueMessage message)
    {
        CloudEvent received = CloudEvent.Parse(message.Body)!;
        var row = await seen.ReserveAsync(received, message.MessageId);
        if (row is null)
        {
            log.LogInformation("seen before: {Id}", received.Id);
            return;
        }
        Work(received);
        await seen.DoneAsync(row); // a process that stops before this line gets the event again
    }

    private void Work(CloudEvent received)
    {
        received.ExtensionAttributes.TryGetValue("acrreference", out var reference);
        log.LogInformation("{Type} {Subject} {Reference}", received.Type, received.Subject, reference);
        if (received.TryGetSystemEventData(out object data)
            && data is ContainerRegistryImagePushedEventData push)
            log.LogInformation("tag: {Tag}", push.Target.Tag);
    }
}
