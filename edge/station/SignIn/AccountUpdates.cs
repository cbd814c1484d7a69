using Microsoft.Extensions.Options;
using Yizhan.Link;

namespace Yizhan.Station.SignIn;

/// <summary>Fetches, while the centre is there, who may sign in when it is not.</summary>
internal sealed partial class AccountUpdates(
    LinkService link, SiteSignIn signIn, IOptions<StationOptions> options, TimeProvider clock, ILogger<AccountUpdates> logger) : BackgroundService
{
    private readonly ILogger _logger = logger;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (link.Centre is not { } centre)
        {
            return;
        }

        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (await centre.AccountsAsync(signIn.List?.Number ?? 0, stoppingToken) is { } text && await signIn.TakeAsync(text, stoppingToken))
                {
                    Taken(signIn.List!.Number, signIn.List.Accounts.Count);
                }
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is LinkDownException or LinkRefusedException or OperationCanceledException)
            {
                // The centre is not there, or has none now: the list that is here counts for thirty days.
            }
            catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
            {
                NotTaken(e.Message);
            }

            await Task.Delay(TimeSpan.FromSeconds(options.Value.AccountsPollSeconds), clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [LoggerMessage(8060, LogLevel.Information, "List {Number} is here: {Accounts} people can sign in without the centre.")]
    private partial void Taken(long number, int accounts);

    [LoggerMessage(8061, LogLevel.Error, "The centre's list of accounts was not taken, the one before goes on: {Reason}")]
    private partial void NotTaken(string reason);
}
