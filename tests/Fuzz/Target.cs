namespace Yizhan.Fuzz;

/// <summary>A part of the product that reads what strangers send.</summary>
internal abstract class Target
{
    /// <summary>Its name in reports and in <c>regressions.txt</c>.</summary>
    public abstract string Name { get; }

    /// <summary>Bytes that one input may make it allocate, whatever they say: a fixed part, and a part for each byte of the input.</summary>
    public abstract (long Fixed, int PerByte) AllocationBound { get; }

    /// <summary>Makes an input; the same for the same sequence of chances.</summary>
    public abstract byte[] Make(Chance chance);

    /// <summary>Reads one input. True when it was taken as well-formed, false when it was refused as it should be.</summary>
    /// <param name="input">What a stranger sent.</param>
    /// <param name="choice">Decides what else is varied: where the input is cut, which limits hold.</param>
    /// <exception cref="Finding">It did what it must not.</exception>
    public abstract bool Read(byte[] input, int choice);
}
