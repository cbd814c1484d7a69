using Yizhan.AlertBridge;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<AlertBridgeModule>());
