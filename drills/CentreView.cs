using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using Yizhan.Contracts;

namespace Yizhan.Drills;

/// <summary>What is at the centre, asked over its public interfaces.</summary>
/// <param name="http">A client of the centre; disposed with this.</param>
public sealed class CentreView(HttpClient http) : IDisposable
{
    private static readonly TimeSpan IndexPatience = TimeSpan.FromMinutes(3);

    private readonly HttpClient _http = http;
    private readonly Dictionary<string, int> _instances = [];
    private readonly HashSet<string> _events = new(StringComparer.Ordinal);
    private long _position;

    /// <summary>Of the centre of a folder.</summary>
    public CentreView(LocalSite site) : this(site.CentreClient())
    {
    }

    /// <summary>How often each data set is in the centre's log, as of the last <see cref="RefreshAsync"/>.</summary>
    public IReadOnlyDictionary<string, int> Instances => _instances;

    /// <summary>Identities of all events in the centre's log, as of the last <see cref="RefreshAsync"/>.</summary>
    public IReadOnlyCollection<string> Events => _events;

    /// <summary>Reads on in the centre's event log.</summary>
    public async Task RefreshAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<LogEvent> page;
        do
        {
            page = await _http.GetFromJsonAsync(
                $"/fleet/events?after={_position}&limit=1000", ContractsJson.Default.IReadOnlyListLogEvent, cancellationToken) ?? [];
            foreach (var e in page)
            {
                _position = e.Position;
                _events.Add($"/sites/{e.Site}/{e.Epoch}/{e.Lane.ToLowerInvariant()}/{e.Sequence}");
                if (e.Type == InstanceStored.EventType)
                {
                    foreach (var sha in e.Blobs)
                    {
                        _instances[sha] = _instances.GetValueOrDefault(sha) + 1;
                    }
                }
            }
        }
        while (page.Count > 0);
    }

    /// <summary>Waits until the data sets are in the centre's log. Returns after the same time without progress, too: the ledger says what is missing.</summary>
    public async Task WaitForAsync(IReadOnlyCollection<string> hashes, TimeSpan patience, CancellationToken cancellationToken)
    {
        var seen = -1;
        var lastProgress = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(lastProgress) < patience)
        {
            await RefreshAsync(cancellationToken);
            var arrived = hashes.Count(_instances.ContainsKey);
            if (arrived == hashes.Count)
            {
                return;
            }

            if (arrived != seen)
            {
                (seen, lastProgress) = (arrived, Stopwatch.GetTimestamp());
                Progress?.Invoke(arrived);
            }

            await Task.Delay(TimeSpan.FromMilliseconds(250), TimeProvider.System, cancellationToken);
        }
    }

    /// <summary>Told how many have arrived, while <see cref="WaitForAsync"/> waits.</summary>
    public Action<int>? Progress { get; init; }

    /// <summary>Told which data set could not be read, and what the centre answered.</summary>
    public Action<string>? Unreadable { get; init; }

    /// <summary>Fetches every data set from the centre's archive and hashes it here; those whose hash is right. What the index has not come to yet (404) or is away for now (503) is asked for again for as long as others come, and three minutes.</summary>
    public async Task<HashSet<string>> HashAllAsync(IEnumerable<string> hashes, CancellationToken cancellationToken)
    {
        var intact = new HashSet<string>();
        var lastProgress = Stopwatch.GetTimestamp();
        foreach (var sha in hashes)
        {
            while (true)
            {
                using var answer = await _http.GetAsync($"/pacs-gw/data-sets/{sha}", HttpCompletionOption.ResponseHeadersRead, cancellationToken);
                if (answer.IsSuccessStatusCode)
                {
                    await using var body = await answer.Content.ReadAsStreamAsync(cancellationToken);
                    if (Convert.ToHexStringLower(await SHA256.HashDataAsync(body, cancellationToken)) == sha)
                    {
                        intact.Add(sha);
                    }
                    else
                    {
                        Unreadable?.Invoke($"{sha} came with other bytes.");
                    }

                    lastProgress = Stopwatch.GetTimestamp();
                    break;
                }

                if (answer.StatusCode is not (HttpStatusCode.NotFound or HttpStatusCode.ServiceUnavailable) || Stopwatch.GetElapsedTime(lastProgress) > IndexPatience)
                {
                    Unreadable?.Invoke($"{sha}: HTTP {(int)answer.StatusCode} {await answer.Content.ReadAsStringAsync(cancellationToken)}");
                    break;
                }

                await Task.Delay(TimeSpan.FromMilliseconds(250), TimeProvider.System, cancellationToken);
            }
        }

        return intact;
    }

    /// <summary>Studies and instances in the centre's archive, by its own listing.</summary>
    public async Task<(int Studies, int Instances)> ArchiveAsync(CancellationToken cancellationToken)
    {
        var studies = await _http.GetFromJsonAsync(
            "/pacs-gw/studies?limit=1000", ContractsJson.Default.IReadOnlyListStudyView, cancellationToken) ?? [];
        return (studies.Count, studies.Sum(study => study.Instances));
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();
}
