using Yizhan.Station;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<StationModule>());
