using Yizhan.AiInfer;
using Yizhan.AiInfer.Engine;
using Yizhan.Platform;

return args is [ModelWorker.Verb, ..] ? await ModelWorker.RunAsync(args[1..]) : await ServiceHost.RunAsync(() => new ServiceHost(args).Add<AiInferModule>());
