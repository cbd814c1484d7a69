namespace Yizhan.Fuzz;

/// <summary>The code under test did what it must not: threw the wrong exception, allocated too much, did not end, or lost something.</summary>
internal sealed class Finding : Exception
{
    public Finding(string message)
        : base(message)
    {
    }

    public Finding(string message, Exception cause)
        : base($"{message}: {cause.GetType().Name}: {cause.Message}", cause)
    {
    }
}
