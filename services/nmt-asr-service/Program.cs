using Yizhan.NmtAsr;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<NmtAsrModule>());
