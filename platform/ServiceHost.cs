using System.Globalization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform;

/// <summary>Builds a web application out of service modules. Every node of the product starts here.</summary>
/// <remarks>
/// Settings come from, later ones winning: <c>--config FILE</c> (YAML), environment <c>YIZHAN_section__key</c>, arguments
/// <c>--section:key=value</c>. A key that no module knows stops the start.
/// </remarks>
public sealed class ServiceHost
{
    private readonly WebApplicationBuilder _builder;
    private readonly Settings _settings = new();
    private readonly List<Action<WebApplication>> _maps = [];

    /// <summary>Starts a host with the platform defaults: settings, problem details, health, one clock.</summary>
    /// <exception cref="SettingException">The configuration file cannot be read.</exception>
    public ServiceHost(string[] args)
    {
        _builder = WebApplication.CreateBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        ReadConfiguration(args);
        _builder.WebHost.UseStaticWebAssets();
        _builder.Services.AddSingleton(_settings);
        _builder.Services.AddProblemDetails();
        _builder.Services.AddHealthChecks();
        _builder.Services.TryAddSingleton(TimeProvider.System);
        _builder.AddSettings<NodeOptions, NodeOptionsValidator>("node");
        _builder.AddSettings<WebOptions, WebOptionsValidator>("web");
        _builder.AddSettings<LogOptions, LogOptionsValidator>("log");
        ConfigureLogging();
        _builder.WebHost.ConfigureKestrel(kestrel => kestrel.AddServerHeader = false);
    }

    /// <summary>Adds one module to this process.</summary>
    public ServiceHost Add<TModule>() where TModule : IServiceModule
    {
        TModule.Register(_builder);
        _maps.Add(app =>
        {
            TModule.Map(app.MapGroup("/" + TModule.Name).WithTags(TModule.Name));
            TModule.MapRoot(app);
        });
        return this;
    }

    /// <summary>Lets a composition root change what is registered, such as the clock in a test.</summary>
    public ServiceHost With(Action<IServiceCollection> change)
    {
        change(_builder.Services);
        return this;
    }

    /// <summary>Builds the application; nothing listens yet.</summary>
    /// <exception cref="SettingException">A setting is unknown or out of range.</exception>
    public WebApplication Build()
    {
        _settings.RefuseUnknown(_builder.Configuration);
        _builder.WebHost.UseUrls(_builder.Configuration["web:url"] ?? new WebOptions().Url);
        var app = _builder.Build();
        try
        {
            app.Services.GetService<IStartupValidator>()?.Validate();
        }
        catch (OptionsValidationException e)
        {
            throw new SettingException(string.Join(" ", e.Failures));
        }
        catch (InvalidOperationException e) when (e.Source == typeof(ConfigurationBinder).Assembly.GetName().Name)
        {
            // A value that is not of its option's type: the binder names value, key and type.
            throw new SettingException(e.Message);
        }

        app.UseExceptionHandler();
        app.UseStatusCodePages();
        app.MapHealthChecks("/healthz");
        foreach (var map in _maps)
        {
            map(app);
        }

        return app;
    }

    /// <summary>
    /// Runs nodes in this process until it is told to stop or one of them stops. Exit code 0; 78 (EX_CONFIG) after a wrong
    /// setting, 74 (EX_IOERR) after a port or folder that cannot be had, was named on standard error.
    /// </summary>
    public static async Task<int> RunAsync(params Func<ServiceHost>[] nodes)
    {
        var apps = new List<WebApplication>();
        var started = new List<WebApplication>();
        try
        {
            foreach (var node in nodes)
            {
                apps.Add(node().Build());
            }

            foreach (var app in apps)
            {
                await app.StartAsync();
                started.Add(app);
            }

            await Task.WhenAny(apps.Select(app => app.WaitForShutdownAsync()));
            return 0;
        }
        catch (SettingException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return 78;
        }
        catch (IOException e) when (started.Count < nodes.Length)
        {
            // A port or a data folder that somebody else holds: the message says which, a stack trace would only hide it.
            await Console.Error.WriteLineAsync($"yizhan: the node did not start: {e.Message}");
            return 74;
        }
        finally
        {
            // A node that never started cannot be stopped, and trying would throw over the reason why it did not.
            foreach (var app in Enumerable.Reverse(started))
            {
                await app.StopAsync();
            }

            foreach (var app in Enumerable.Reverse(apps))
            {
                await app.DisposeAsync();
            }
        }
    }

    private void ReadConfiguration(string[] args)
    {
        ((IConfigurationBuilder)_builder.Configuration).Sources.Clear();
        var settings = new List<string>();
        for (var i = 0; i < args.Length; i++)
        {
            if (args[i] == "--config")
            {
                _builder.Configuration.AddYamlFile(i + 1 < args.Length ? args[++i] : throw new SettingException("--config needs a file."));
            }
            else if (args[i].StartsWith("--", StringComparison.Ordinal) && args[i].Contains('='))
            {
                settings.Add(args[i]);
            }
            else
            {
                throw new SettingException($"'{args[i]}' is not understood. Accepted: --config FILE and --section:key=value.");
            }
        }

        _builder.Configuration.AddEnvironmentVariables("YIZHAN_");
        _builder.Configuration.AddCommandLine([.. settings]);
    }

    private void ConfigureLogging()
    {
        var level = _builder.Configuration["log:level"];
        _builder.Logging.ClearProviders();
        _builder.Logging.SetMinimumLevel(Enum.TryParse<LogLevel>(level, ignoreCase: true, out var parsed) ? parsed : LogLevel.Information);
        _builder.Logging.AddFilter("Microsoft", LogLevel.Warning);
        _builder.Logging.AddFilter("System", LogLevel.Warning);
        if (string.Equals(_builder.Configuration["log:format"], "json", StringComparison.OrdinalIgnoreCase))
        {
            _builder.Logging.AddJsonConsole(o => o.UseUtcTimestamp = true);
        }
        else
        {
            _builder.Logging.AddSimpleConsole(o =>
            {
                o.SingleLine = true;
                o.UseUtcTimestamp = true;
                o.TimestampFormat = CultureInfo.InvariantCulture.DateTimeFormat.SortableDateTimePattern + "'Z' ";
            });
        }
    }
}
