using Yizhan.NmtAsr;
using Yizhan.NmtAsr.Sherpa;
using Yizhan.Platform;

return args is [SherpaWorker.Verb, ..] ? SherpaWorker.Run(args[1..]) : await ServiceHost.RunAsync(() => new ServiceHost(args).Add<NmtAsrModule>());
