using System.Collections;
using System.Reflection;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform;

/// <summary>The settings that this process knows. A key that nobody reads stops the start: it is a mistyped one.</summary>
public sealed class Settings
{
    private readonly Dictionary<string, Type> _sections = new(StringComparer.OrdinalIgnoreCase);

    internal void Add(string section, Type options) => _sections[section] = options;

    internal bool Knows(string section) => _sections.ContainsKey(section);

    /// <summary>Throws for the first configured key that no options class has.</summary>
    /// <exception cref="SettingException">Names the key and the nearest known one.</exception>
    public void RefuseUnknown(IConfiguration configuration)
    {
        foreach (var section in configuration.GetChildren())
        {
            if (!_sections.TryGetValue(section.Key, out var type))
            {
                throw Unknown(section.Path, "", _sections.Keys);
            }

            RefuseUnknown(section, type);
        }
    }

    private static void RefuseUnknown(IConfigurationSection section, Type type)
    {
        foreach (var child in section.GetChildren())
        {
            if (ElementType(type) is { } element)
            {
                RefuseUnknown(child, element);
                continue;
            }

            var properties = type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.CanWrite).ToArray();
            var property = properties.FirstOrDefault(p => p.Name.Equals(child.Key, StringComparison.OrdinalIgnoreCase))
                ?? throw Unknown(child.Path, section.Path + ":", properties.Select(p => Camel(p.Name)));
            RefuseUnknown(child, property.PropertyType);
        }
    }

    /// <summary>The type of the values of a list or dictionary; null for everything else.</summary>
    private static Type? ElementType(Type type) =>
        type == typeof(string) || !type.IsAssignableTo(typeof(IEnumerable)) ? null
        : type.IsArray ? type.GetElementType()
        : type.GetGenericArguments().LastOrDefault();

    private static SettingException Unknown(string path, string prefix, IEnumerable<string> known)
    {
        var name = path.Split(':')[^1];
        var names = known.ToArray();
        var hint = names.Length == 0 ? "The setting above it is a single value." : Spelling.Hint(name, names, prefix);
        return new SettingException($"There is no setting '{path}'. {hint}");
    }

    private static string Camel(string name) => char.ToLowerInvariant(name[0]) + name[1..];
}

/// <summary>A setting is unknown or wrong; the message names it and says what would be accepted. The process does not start.</summary>
public sealed class SettingException(string message) : Exception(message);

/// <summary>How a module declares its options.</summary>
public static class SettingsExtensions
{
    /// <summary>Binds a section to an options class, validates it at start and makes its keys known.</summary>
    /// <typeparam name="TOptions">The options.</typeparam>
    /// <typeparam name="TValidator">Their validator; a generated one is best.</typeparam>
    public static IHostApplicationBuilder AddSettings<TOptions, TValidator>(this IHostApplicationBuilder builder, string section)
        where TOptions : class
        where TValidator : class, IValidateOptions<TOptions>
    {
        builder.SettingsOf().Add(section, typeof(TOptions));
        builder.Services.AddOptions<TOptions>().BindConfiguration(section).ValidateOnStart();
        builder.Services.AddSingleton<IValidateOptions<TOptions>, TValidator>();
        return builder;
    }

    private static Settings SettingsOf(this IHostApplicationBuilder builder) =>
        (Settings)builder.Services.First(s => s.ServiceType == typeof(Settings)).ImplementationInstance!;
}
