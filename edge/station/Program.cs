using Yizhan.Platform;
using Yizhan.Station;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<StationModule>());
