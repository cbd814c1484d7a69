namespace Yizhan.Audit.Tests;

/// <summary>Waits for a condition as long as the test may run.</summary>
internal static class Wait
{
    public static Task UntilAsync(Func<bool> condition, CancellationToken cancellationToken) =>
        UntilAsync(() => Task.FromResult(condition()), cancellationToken);

    public static async Task UntilAsync(Func<Task<bool>> condition, CancellationToken cancellationToken)
    {
        for (var attempt = 0; attempt < 15_000; attempt++)
        {
            if (await condition())
            {
                return;
            }

            await Task.Delay(20, cancellationToken);
        }

        Assert.Fail("It did not happen within five minutes.");
    }
}
