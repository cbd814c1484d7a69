namespace Yizhan.Contracts;

/// <summary>Somebody who can sign in at the embedded issuer.</summary>
/// <param name="Name">What they type.</param>
/// <param name="DisplayName">What a page calls them.</param>
/// <param name="Roles">Roles at sites, such as <c>radiographer@lakeside</c>.</param>
/// <param name="Disabled">Whether the account is closed.</param>
/// <param name="MustChange">Whether they still have the password that was given to them.</param>
public sealed record UserView(string Name, string DisplayName, IReadOnlyList<string> Roles, bool Disabled, bool MustChange);

/// <summary>Somebody to be added.</summary>
/// <param name="Name">2 to 64 of <c>a-z 0-9 . _ -</c>.</param>
/// <param name="DisplayName">What a page calls them.</param>
/// <param name="Roles">Roles at sites, such as <c>radiographer@lakeside</c>.</param>
public sealed record NewUser(string Name, string DisplayName, IReadOnlyList<string> Roles);

/// <summary>Somebody who was added.</summary>
/// <param name="Name">What they type.</param>
/// <param name="Password">Their first password, shown this once; it has to be replaced at the first sign-in.</param>
public sealed record NewUserView(string Name, string Password);
