using Yizhan.Audit;
using Yizhan.Fleet;
using Yizhan.PacsGw;
using Yizhan.Platform;

// The whole platform in one process. Each line is also a Deployment in infra/k8s/base.
return await ServiceHost.RunAsync(() => new ServiceHost(args)
    .Add<FleetModule>()
    .Add<PacsGwModule>()
    .Add<AuditModule>());
