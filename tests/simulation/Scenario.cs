namespace Yizhan.Simulation;

/// <summary>What goes wrong in a run, and how often. Times are of 24 virtual hours; rates are for each of them.</summary>
internal sealed record Scenario(string Name)
{
    /// <summary>One for each group of faults that the test plan names, and one with everything at once. Seed N takes number N modulo their count.</summary>
    public static readonly IReadOnlyList<Scenario> All =
    [
        new("S1 a day without a line, at three times the rate") { OutageHours = 24, Items = 600, Crashes = 1 },
        new("S2 a line that flaps every 20 s, and goes silent") { Flap = TimeSpan.FromSeconds(20), Silences = 4, Items = 200 },
        new("S3 crashes at any operation") { Crashes = 24, CentreCrashes = 2 },
        new("S4 crashes during recovery") { Crashes = 8, CentreCrashes = 4, RecoveryCrash = 0.7 },
        new("S5 full disks") { Full = 10, CentreFull = 6, Crashes = 2 },
        new("S6 I/O errors") { IoErrors = 12, CentreIoErrors = 6 },
        new("S7 wrong clocks") { ClockJumps = 12, Crashes = 2, OutageHours = 6 },
        new("S8 a centre that crashes, loses answers and is restored from an older image") { CentreCrashes = 10, LostAnswers = 0.2, CentreRestored = true },
        new("S9 an edge restored from an older backup") { EdgeRestored = true, OutageHours = 5, Crashes = 2 },
        new("S10 one poisoned entry in ten") { Poison = 0.1, Crashes = 3, CentreCrashes = 2 },
        new("S12 50 kbit/s with urgent entries on top of a backlog") { BytesPerSecond = 6250, Items = 350, Slow = true, OutageHours = 8 },
        new("SM a write in the wrong place") { Misdirected = true },
        new("all at once")
        {
            Crashes = 6, CentreCrashes = 6, RecoveryCrash = 0.3, Full = 3, CentreFull = 2, IoErrors = 3, CentreIoErrors = 2, ClockJumps = 4, Poison = 0.03,
            LostAnswers = 0.05, Loss = 0.02, Twice = 0.1, Reset = 0.02, Silences = 2, OutageHours = 4, CentreRestored = true,
            Jitter = TimeSpan.FromSeconds(2),
        },
    ];

    /// <summary>Entries that producers offer, about.</summary>
    public int Items { get; init; } = 300;

    /// <summary>The line is down from the second hour for this long.</summary>
    public double OutageHours { get; init; }

    /// <summary>Mean time between two changes of the line; null: it does not flap.</summary>
    public TimeSpan? Flap { get; init; }

    /// <summary>How often the line goes silent for some minutes.</summary>
    public double Silences { get; init; }

    /// <summary>Kills and power cuts of the edge.</summary>
    public double Crashes { get; init; }

    public double CentreCrashes { get; init; }

    /// <summary>Share of starts that a second crash interrupts.</summary>
    public double RecoveryCrash { get; init; }

    public double IoErrors { get; init; }

    public double CentreIoErrors { get; init; }

    /// <summary>How often something else fills the disk for a while.</summary>
    public double Full { get; init; }

    public double CentreFull { get; init; }

    /// <summary>The clock of the edge goes back a year, forward a day, or to 1970.</summary>
    public double ClockJumps { get; init; }

    /// <summary>Share of entries that the centre can never take.</summary>
    public double Poison { get; init; }

    /// <summary>The centre comes back as it was an hour ago.</summary>
    public bool CentreRestored { get; init; }

    /// <summary>The edge comes back as it was six hours ago.</summary>
    public bool EdgeRestored { get; init; }

    /// <summary>One write of the edge lands in the wrong place, without an error.</summary>
    public bool Misdirected { get; init; }

    /// <summary>A line on which an urgent entry must not wait for the backlog, and no connection may be given up.</summary>
    public bool Slow { get; init; }

    public double BytesPerSecond { get; init; } = 1_000_000;

    public TimeSpan Latency { get; init; } = TimeSpan.FromMilliseconds(30);

    /// <summary>Most that one request is delayed more than another: they overtake each other.</summary>
    public TimeSpan Jitter { get; init; } = TimeSpan.FromMilliseconds(200);

    public double Loss { get; init; }

    public double LostAnswers { get; init; } = 0.02;

    public double Twice { get; init; } = 0.05;

    public double Reset { get; init; }

    /// <summary>The scenario of a seed: rates and the line vary with it.</summary>
    public static Scenario Of(long seed, SeededRandom random)
    {
        var scenario = All[(int)(seed % All.Count)];
        return scenario.Slow
            ? scenario with { Loss = 0, LostAnswers = 0, Reset = 0, Twice = 0, Crashes = 0 }
            : scenario with
            {
                Loss = scenario.Loss + (random.Chance(0.3) ? 0.01 : 0),
                Reset = scenario.Reset + (random.Chance(0.3) ? 0.01 : 0),
                BytesPerSecond = random.Next(3) switch { 0 => 60_000, 1 => 250_000, _ => scenario.BytesPerSecond },
                Latency = random.Next(TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(random.Chance(0.2) ? 600 : 60)),
            };
    }
}
