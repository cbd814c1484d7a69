using System.Runtime.CompilerServices;

namespace Yizhan;

/// <summary>Waits for a condition that end by themselves, and say what did not come. Linked into the test projects that poll.</summary>
internal static class Wait
{
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(5);

    /// <summary>Returns once the condition holds.</summary>
    public static Task UntilAsync(Func<bool> holds, [CallerArgumentExpression(nameof(holds))] string what = "") =>
        UntilAsync(() => Task.FromResult(holds()), what);

    /// <inheritdoc cref="UntilAsync(Func{bool}, string)"/>
    public static async Task UntilAsync(Func<Task<bool>> holds, [CallerArgumentExpression(nameof(holds))] string what = "")
    {
        var test = TestContext.Current.CancellationToken;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(test);
        limit.CancelAfter(Longest);
        while (!await holds())
        {
            try
            {
                await Task.Delay(10, limit.Token);
            }
            catch (OperationCanceledException) when (!test.IsCancellationRequested)
            {
                Assert.Fail($"Not within {Longest.TotalMinutes} minutes: {what}");
            }
        }
    }
}
