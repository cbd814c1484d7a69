using Yizhan.Fleet;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<FleetModule>());
