using Microsoft.AspNetCore.Components;
using Microsoft.JSInterop;
using Yizhan.Console.Language;
using Yizhan.Console.Network;

namespace Yizhan.Console.Live;

/// <summary>A page that reads again and again while it is open, and stops with it. What it reads is on the page when its ages are in the zone of the browser.</summary>
public abstract class ReadingPage : ComponentBase, IAsyncDisposable
{
    private readonly CancellationTokenSource _left = new();
    private Task _reading = Task.CompletedTask;

    [Inject]
    private IJSRuntime Browser { get; set; } = default!;

    /// <summary>The clock.</summary>
    [Inject]
    protected TimeProvider Clock { get; set; } = default!;

    /// <summary>The sentences of the language of who looks.</summary>
    [CascadingParameter]
    protected Texts Texts { get; set; } = default!;

    /// <summary>The moment that the page shows.</summary>
    protected Moment Moment { get; private set; } = new(DateTimeOffset.UnixEpoch, TimeZoneInfo.Utc);

    /// <summary>Cancelled when the page is left.</summary>
    protected CancellationToken Left { get; private set; }

    /// <summary>Time between two readings.</summary>
    protected abstract TimeSpan Fresh { get; }

    /// <summary>Reads what the page shows; what fails has to become a part of that.</summary>
    protected abstract Task ReadAsync();

    /// <inheritdoc/>
    protected override void OnInitialized()
    {
        Left = _left.Token;
        Moment = new Moment(Clock.GetUtcNow(), TimeZoneInfo.Utc);
    }

    /// <inheritdoc/>
    protected override async Task OnAfterRenderAsync(bool firstRender)
    {
        if (firstRender)
        {
            var zone = TimeZoneInfo.TryFindSystemTimeZoneById(await Browser.InvokeAsync<string>("yizhanTimeZone", Left), out var found) ? found : TimeZoneInfo.Utc;
            _reading = RepeatAsync(zone);
        }
    }

    private async Task RepeatAsync(TimeZoneInfo zone)
    {
        using var timer = new PeriodicTimer(Fresh, Clock);
        try
        {
            do
            {
                await InvokeAsync(async () =>
                {
                    await ReadAsync();
                    Moment = new Moment(Clock.GetUtcNow(), zone);
                    StateHasChanged();
                });
            }
            while (await timer.WaitForNextTickAsync(Left));
        }
        catch (OperationCanceledException) when (Left.IsCancellationRequested)
        {
            // The page was left.
        }
    }

    /// <summary>Puts away what the page has in the browser.</summary>
    protected virtual ValueTask LeaveAsync() => ValueTask.CompletedTask;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _left.CancelAsync();
        await _reading;
        _left.Dispose();
        try
        {
            await LeaveAsync();
        }
        catch (JSDisconnectedException)
        {
            // The browser left before the page did.
        }

        GC.SuppressFinalize(this);
    }
}
