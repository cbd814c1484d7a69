using Microsoft.EntityFrameworkCore;

namespace Yizhan.Auth;

/// <summary>People, and what OpenIddict keeps: clients, authorizations, tokens. One SQLite file, <c>auth/auth.db</c>.</summary>
internal sealed class AuthDatabase(DbContextOptions<AuthDatabase> options) : DbContext(options)
{
    public DbSet<Person> People => Set<Person>();

    protected override void OnModelCreating(ModelBuilder modelBuilder) => modelBuilder.Entity<Person>(person =>
    {
        person.HasKey(p => p.Name);
        person.ToTable("people");
    });
}
