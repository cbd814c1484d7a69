using System.CommandLine;
using Yizhan.Bench;

var root = new RootCommand("Our figures beside those of a peer, from the same run on the same machine.")
{
    PacsBench.Create(),
    StoreBench.Create(),
    SpoolBench.Create(),
    BackfillBench.Create(),
    SitesBench.Create(),
    AuditBench.Create(),
    InventoryBench.Create(),
    InferBench.Create(),
    AuthBench.Create(),
    EmrBench.Create(),
    SpeechBench.Asr(),
    SpeechClients.Create(),
    SpeechBench.Translate(),
    IntakeBench.Create(),
};
return await root.Parse(args).InvokeAsync();
