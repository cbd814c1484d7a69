namespace Yizhan.Console;

/// <summary>Where a console is: at the centre, or at a site, whose pages are about that site alone and need no centre.</summary>
/// <param name="IsSite">At a site.</param>
internal sealed record Place(bool IsSite);

/// <summary>On a page that only a centre has. A site's console says so where somebody types its address.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class OfCentreAttribute : Attribute;
