using Yizhan.PacsGw;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<PacsGwModule>());
