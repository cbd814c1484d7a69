namespace Yizhan.Inventory.Ledger;

/// <summary>Quantities as the ledger keeps them: whole thousandths of a base unit, so that sums are exact.</summary>
internal static class Thousandths
{
    /// <summary>Largest quantity, in base units.</summary>
    public const long Max = 1_000_000_000_000;

    /// <summary>False when the quantity has more than three decimals or is larger than <see cref="Max"/>.</summary>
    public static bool TryOf(decimal quantity, out long thousandths)
    {
        thousandths = 0;
        if (Math.Abs(quantity) > Max || decimal.Truncate(quantity * 1000) != quantity * 1000)
        {
            return false;
        }

        thousandths = (long)(quantity * 1000);
        return true;
    }

    /// <summary>The quantity in base units, without zeros at its end.</summary>
    public static decimal ToDecimal(long thousandths) => decimal.Divide(thousandths, 1000) / 1.0000000000m;
}
