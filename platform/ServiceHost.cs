using System.Globalization;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.Memory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Yizhan.Platform.Flows;
using Yizhan.Platform.Identity;
using Yizhan.Platform.Licences;
using Yizhan.Platform.Releases;
using Yizhan.Platform.SiteFiles;
using Yizhan.Platform.Standby;
using Yizhan.Platform.Telemetry;

namespace Yizhan.Platform;

/// <summary>Builds a web application out of service modules. Every node of the product starts here.</summary>
/// <remarks>
/// Settings come from, later ones winning: <c>--config FILE</c> (YAML), environment <c>YIZHAN_section__key</c>, arguments
/// <c>--section:key=value</c>, and last what the site's released configuration says (<see cref="ConfigurationSlots"/>). A key that no
/// module knows stops the start.
/// </remarks>
public sealed class ServiceHost
{
    private readonly WebApplicationBuilder _builder;
    private readonly Settings _settings = new();
    private readonly List<Action<WebApplication>> _maps = [];
    private readonly List<string> _modules = [];
    private ConfigurationSlots? _slots;

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
        _builder.Services.AddSingleton<NodeRestart>();
        _builder.Services.AddSingleton<Draining>();
        _builder.Services.AddHostedService(services => services.GetRequiredService<Draining>());
        _builder.Services.AddSingleton<IStartupFilter>(services => services.GetRequiredService<Draining>());
        _builder.AddSettings<NodeOptions, NodeOptionsValidator>("node");
        _builder.AddSettings<WebOptions, WebOptionsValidator>("web");
        _builder.AddSettings<LogOptions, LogOptionsValidator>("log");
        _builder.AddTelemetry();
        _builder.AddIdentity();
        _builder.AddLicence();
        _builder.AddServiceTls(_modules);
        ConfigureLogging();
        _builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.ApplicationServices.GetService<ServiceTls>()?.Configure(kestrel);
        });
    }

    /// <summary>Adds one module to this process.</summary>
    public ServiceHost Add<TModule>() where TModule : IServiceModule
    {
        TModule.Register(_builder);
        _modules.Add(TModule.Name);
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
        AddReleasedConfiguration();
        _builder.Services.AddHostedService<StopBeforeDispose>();
        _settings.RefuseUnknown(_builder.Configuration);
        _builder.WebHost.UseUrls(_builder.Configuration["web:url"] ?? new WebOptions().Url);
        WebApplication app;
        try
        {
            // The server looks at some of its settings while it is made.
            app = _builder.Build();
            app.Services.GetService<IStartupValidator>()?.Validate();
            app.Services.GetRequiredService<IOptions<NodeOptions>>().Value.CloseDataFolder();
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

        // Nobody may ask for it in this process, and its gauge is read all the same.
        app.Services.GetRequiredService<LicenceGate>();
        app.UseExceptionHandler();
        app.UseProof();
        app.UseIngressAddress();
        app.UseStatusCodePages();
        app.UseAccess();
        app.MapHealthChecks("/healthz").OpenToAll("Says whether the node lives and nothing else; probes have no token.");
        app.MapHealthChecks(HealthPaths.Ready).OpenToAll("Says whether requests are wanted here and nothing else; balancers have no token.");
        app.MapHealthChecks(HealthPaths.Live, new HealthCheckOptions { Predicate = _ => false }).OpenToAll("Says that the process answers and nothing else; probes have no token.");
        app.MapTelemetry().OpenToAll("Figures of the node, never of a patient; Prometheus has no token of a person. A NetworkPolicy says who reaches it.");
        Session.Map(app);
        OidcSignIn.Map(app);
        foreach (var map in _maps)
        {
            map(app);
        }

        return app;
    }

    /// <summary>
    /// Runs nodes in this process until it is told to stop or one of them stops. Exit code 0; 78 (EX_CONFIG) after a wrong
    /// setting, 74 (EX_IOERR) after a port or folder that cannot be had, was named on standard error. A node that asks for it is
    /// started again; one that does not come up with a released configuration gets the last good one after three starts.
    /// </summary>
    public static async Task<int> RunAsync(params Func<ServiceHost>[] nodes)
    {
        // Here, so that the program of every service has it.
        if (Environment.GetCommandLineArgs() is [_, HealthCheck.Verb, .. var asked])
        {
            return await HealthCheck.RunAsync(asked, Console.Error);
        }

        if (Environment.GetCommandLineArgs() is [_, IdleCheck.Verb, .. var at])
        {
            return await IdleCheck.RunAsync(at, Console.Out, Console.Error);
        }

        var running = nodes.Select(node => new RunningNode(node)).ToArray();
        try
        {
            foreach (var node in running)
            {
                if (!await node.LeadAsync())
                {
                    return 0;
                }

                await node.BuildAsync();
            }

            foreach (var node in running)
            {
                await node.StartAsync();
            }

            while (true)
            {
                var ended = await await Task.WhenAny(running.Select(node => node.EndedAsync()));
                if (!ended.WantsRestart)
                {
                    return 0;
                }

                await ended.BuildAsync();
                await ended.StartAsync();
            }
        }
        catch (SettingException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return 78;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SocketException && !running.All(node => node.Started))
        {
            // A port or a data folder that somebody else holds: the message says which, a stack trace would only hide it.
            await Console.Error.WriteLineAsync($"yizhan: the node did not start: {e.Message}");
            return 74;
        }
        finally
        {
            foreach (var node in running.Reverse())
            {
                await node.StopAsync();
            }

            foreach (var node in running.Reverse())
            {
                await node.DisposeAsync();
                node.Release();
            }
        }
    }

    /// <summary>Adds the settings that the site's configuration means, for the services that this node runs.</summary>
    private void AddReleasedConfiguration()
    {
        var node = _builder.Configuration.GetSection("node").Get<NodeOptions>() ?? new NodeOptions();
        if (!Directory.Exists(Path.Combine(node.DataFolder, "configuration")))
        {
            return;
        }

        _slots = ConfigurationSlots.Open(node);
        if (_slots.Start(TimeProvider.System.GetUtcNow()) is { } site)
        {
            var known = SiteSettings.Of(site).Where(setting => _settings.Knows(setting.Key.Split(':')[0]));
            ((IConfigurationBuilder)_builder.Configuration).Add(new MemoryConfigurationSource { InitialData = known });
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

        // A setting has a section; YIZHAN_LONG, by which the test suites are told how long they may take, is none.
        _builder.Configuration.AddInMemoryCollection(new ConfigurationBuilder().AddEnvironmentVariables("YIZHAN_").Build().AsEnumerable()
            .Where(setting => setting.Value is not null && setting.Key.Contains(':', StringComparison.Ordinal)));
        _builder.Configuration.AddCommandLine([.. settings]);
    }

    /// <summary>Waits until this node leads in its data folder; null when it was told to stop before, and a lease of nothing when it need not wait.</summary>
    /// <exception cref="SettingException">A setting of the section <c>node</c> is not of its type or out of range.</exception>
    private async Task<(bool Leads, NodeLease? Lease)> LeadAsync()
    {
        NodeOptions node;
        try
        {
            node = _builder.Configuration.GetSection("node").Get<NodeOptions>() ?? new NodeOptions();
        }
        catch (InvalidOperationException e)
        {
            throw new SettingException(e.Message);
        }

        if (!node.Standby)
        {
            return (true, null);
        }

        if (new NodeOptionsValidator().Validate(null, node) is { Failed: true } wrong)
        {
            throw new SettingException(wrong.FailureMessage);
        }

        var lease = await new StandbyNode(node, _builder.Configuration["web:url"] ?? new WebOptions().Url, ConfigureLogging, TimeProvider.System).LeadAsync();
        return (lease is not null, lease);
    }

    private void ConfigureLogging() => ConfigureLogging(_builder.Logging);

    private void ConfigureLogging(ILoggingBuilder logging)
    {
        var level = _builder.Configuration["log:level"];
        logging.ClearProviders();
        logging.SetMinimumLevel(Enum.TryParse<LogLevel>(level, ignoreCase: true, out var parsed) ? parsed : LogLevel.Information);
        logging.AddFilter("Microsoft", LogLevel.Warning);
        logging.AddFilter("System", LogLevel.Warning);

        // It warns that the keys of sessions lie in the data folder unencrypted: so do the data.
        logging.AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error);
        if (string.Equals(_builder.Configuration["log:format"], "json", StringComparison.OrdinalIgnoreCase))
        {
            logging.AddJsonConsole(o => o.UseUtcTimestamp = true);
        }
        else
        {
            logging.AddSimpleConsole(o =>
            {
                o.SingleLine = true;
                o.UseUtcTimestamp = true;
                o.TimestampFormat = CultureInfo.InvariantCulture.DateTimeFormat.SortableDateTimePattern + "'Z' ";
            });
        }
    }

    /// <summary>A node through its starts. What it throws on a released configuration that is on trial counts as one of that one's starts.</summary>
    private sealed class RunningNode(Func<ServiceHost> node) : IAsyncDisposable
    {
        private ServiceHost? _host;
        private WebApplication? _app;
        private NodeLease? _lease;

        public bool Started { get; private set; }

        public bool WantsRestart => _app!.Services.GetRequiredService<NodeRestart>().Requested;

        /// <summary>Waits until the node may lead; false when it was told to stop before. What it leads it keeps through its starts.</summary>
        public async Task<bool> LeadAsync()
        {
            (var leads, _lease) = await node().LeadAsync();
            return leads;
        }

        public void Release() => _lease?.Dispose();

        public async Task BuildAsync()
        {
            await DisposeAsync();
            while (true)
            {
                _host = node();
                try
                {
                    _app = _host.Build();
                    return;
                }
                catch (Exception e) when (IsOnTrial)
                {
                    await SayAsync(e);
                }
            }
        }

        public async Task StartAsync()
        {
            while (true)
            {
                try
                {
                    await _app!.StartAsync();
                    Started = true;
                    return;
                }
                catch (Exception e) when (IsOnTrial)
                {
                    await SayAsync(e);
                    await BuildAsync();
                }
            }
        }

        public async Task<RunningNode> EndedAsync()
        {
            await _app!.WaitForShutdownAsync();
            return this;
        }

        /// <summary>A node that never started cannot be stopped, and trying would throw over the reason why it did not.</summary>
        public Task StopAsync() => Started ? _app!.StopAsync() : Task.CompletedTask;

        public async ValueTask DisposeAsync()
        {
            Started = false;
            if (_app is { } app)
            {
                _app = null;
                await app.DisposeAsync();
            }
        }

        private bool IsOnTrial => _host is { _slots.IsOnTrial: true };

        private Task SayAsync(Exception e) =>
            Console.Error.WriteLineAsync($"yizhan: the node did not start with {_host!._slots!.State.Active!.Version}: {e.Message}");
    }
}
