using Yizhan.MqttBridge;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<MqttBridgeModule>());
