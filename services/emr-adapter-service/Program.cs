using Yizhan.EmrAdapter;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<EmrAdapterModule>());
