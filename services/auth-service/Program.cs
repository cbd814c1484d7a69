using Yizhan.Auth;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<AuthModule>());
