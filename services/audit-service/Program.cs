using Yizhan.Audit;
using Yizhan.Platform;

return await ServiceHost.RunAsync(() => new ServiceHost(args).Add<AuditModule>());
