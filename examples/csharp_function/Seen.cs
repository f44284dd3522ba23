using System.Security.Cryptography;
using System.Text;
using Azure;
using Azure.Data.Tables;
using Azure.Identity;
using Azure.Messaging;

/// <summary>Reserves events in the table `seen`, so that copies are not processed again.</summary>
public class Seen
{
    // Longer than the work takes, and shorter than all attempts to process a message.
    private static readonly TimeSpan Reserved = TimeSpan.FromSeconds(60);

    private readonly string _queue = Environment.GetEnvironmentVariable("AcrQueue")!;
    private readonly TableClient _table;

    public Seen()
    {
        var uri = Environment.GetEnvironmentVariable("ConsumerStorage__tableServiceUri");
        _table = string.IsNullOrEmpty(uri)
            ? new TableClient(Environment.GetEnvironmentVariable("AcrEventsStorage"), "seen")
            : new TableClient(new Uri(uri), "seen", new DefaultAzureCredential());
        _table.CreateIfNotExists();
    }

    /// <summary>Reserves an event for a message. Null if the event is processed already.</summary>
    public async Task<TableEntity?> ReserveAsync(CloudEvent received, string message)
    {
        var name = Encoding.UTF8.GetBytes($"{received.Source} {received.Id}");
        var key = Convert.ToHexString(SHA256.HashData(name)).ToLowerInvariant();
        var row = new TableEntity(_queue, key) { ["message"] = message, ["done"] = false };
        try
        {
            await _table.AddEntityAsync(row); // of several at once, one succeeds
        }
        catch (RequestFailedException error) when (error.Status == 409)
        {
            TableEntity found = await _table.GetEntityAsync<TableEntity>(_queue, key);
            if (found.GetBoolean("done") == true)
                return null;
            // The same message is here again only if its last attempt failed or was killed.
            if (found.GetString("message") != message
                && DateTimeOffset.UtcNow - found.Timestamp < Reserved)
                throw new InvalidOperationException("another message with this event is being processed");
            await _table.UpdateEntityAsync(row, found.ETag, TableUpdateMode.Replace);
        }
        return row;
    }

    public async Task DoneAsync(TableEntity row)
    {
        row["done"] = true;
        await _table.UpsertEntityAsync(row, TableUpdateMode.Replace);
    }
}
